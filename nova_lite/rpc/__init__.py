"""The compute RPC API: two servers, one table, one place where errors become answers."""
