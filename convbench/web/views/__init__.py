"""Pages for a browser: what is stored, as ready strings for the templates in report/pages/templates."""
