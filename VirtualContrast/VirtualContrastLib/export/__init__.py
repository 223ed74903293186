"""What a run writes for people and other systems: tables, figures, a report, DICOM series, SEG and SR."""
