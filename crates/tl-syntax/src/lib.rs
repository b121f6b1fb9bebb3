//! TensorLogic source text: spans, diagnostics, lexer, lossless tree, parser, typed views.
