"""A run's record outside its own folder: in MLflow, in Weights & Biases, or in both.

One kind of record a module (mlflow_record.py, wandb_record.py), both alike to the rest; watch.py writes into them while
a network trains, results.py when it has, lost.py marks those whose process has died.
"""
