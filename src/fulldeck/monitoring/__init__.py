"""What the service has answered, kept so that it can be looked at later: the prediction log."""
