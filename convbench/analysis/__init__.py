"""Pure: results to tables, rates and findings."""
