"""The sections of a report, one file a subject: from evidence to text, tables and figures."""
