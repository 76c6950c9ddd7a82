"""reports/report.html: the report as one file that a browser reads without a network."""
