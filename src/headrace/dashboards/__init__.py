"""Dashboards: one TOML file is one page of tiles, each showing the answer of one query, live.

Reads: the answers of queries; `dashboards/*.toml` of the project.
Writes: nothing.
Guarantees: every chart has its numbers as a table, every page says how old they are, and one failing tile fails alone.
Resumes from: nothing; a page that reconnects is sent every tile again.
"""
