"""Start the app: python app.py [--host 127.0.0.1] [--port 7860]; --help lists all settings."""

from app.main import main

if __name__ == "__main__":
    raise SystemExit(main())
