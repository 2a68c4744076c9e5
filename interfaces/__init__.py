"""Faces: they parse, call and print, and have no logic of their own."""
