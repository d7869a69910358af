"""Studies of models: timing, complexity, method comparison, robustness, audio ablation."""
