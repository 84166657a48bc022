"""What stands between the server and its routes: pure ASGI middleware, one class a file."""
