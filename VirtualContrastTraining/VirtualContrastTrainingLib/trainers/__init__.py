"""One trainer a published system, each a LightningModule."""
