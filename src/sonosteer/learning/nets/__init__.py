"""Networks, one published model a file, behind one face (`face.TipNet`)."""
