"""The part of VirtualContrastTraining that knows Slicer: panel, child process, charts. Nothing else imports it."""
