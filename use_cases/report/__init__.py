"""The report: every table and chart that shows measured numbers, made from the records alone."""
