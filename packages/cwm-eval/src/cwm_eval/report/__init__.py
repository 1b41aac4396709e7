"""Reports of evaluation runs: self-contained HTML, Markdown, JSON and examples for a terminal."""
