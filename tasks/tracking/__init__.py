"""Everything that MLflow is told."""
