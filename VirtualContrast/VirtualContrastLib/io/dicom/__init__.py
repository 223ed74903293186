"""Reading DICOM series: headers, phases, pixels, plausibility."""
