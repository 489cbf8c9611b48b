"""Parts of HTTP that all paths share: bodies, answers, uploads, tokens, certificates."""
