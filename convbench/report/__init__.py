"""The paper room: pure, results to HTML text."""
