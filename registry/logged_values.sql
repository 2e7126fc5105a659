CREATE INDEX logged_model_metrics_value ON logged_model_metrics (key, value, model DESC)
