"""Frames in: video, image folders, MetaImage and NRRD sequences, DICOM cine, simulation."""
