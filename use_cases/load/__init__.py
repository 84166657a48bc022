"""Load tests: a running server under many clients, and what that costs against the same work without one."""
