"""What others published, held against what the suite predicts: results.toml, read, run and compared."""
