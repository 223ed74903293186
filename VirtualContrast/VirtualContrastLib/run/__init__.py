"""One run from input to result folder: plan, analysis, writing; batches and comparisons of existing volumes."""
