"""The part of VirtualContrast that knows Slicer: panel, worker process, scene. Nothing else imports it."""
