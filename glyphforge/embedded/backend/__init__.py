"""Django database engine `glyphforge.embedded.backend`: PostgreSQL that starts on demand."""
