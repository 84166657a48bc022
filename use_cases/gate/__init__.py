"""The time gate: what whole requests and their parts may cost, beside a kernel measured in the same run."""
