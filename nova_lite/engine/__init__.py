"""The operation engine: runs journalled operations and resumes them."""
