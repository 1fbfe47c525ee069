"""The built-in corpus: the same text every time, split by document."""

from tasks.corpus.stdlib import stdlib_documents, stdlib_text


def test_the_same_python_gives_the_same_documents() -> None:
    """The order depends on names only."""
    assert list(stdlib_documents("valid")) == list(stdlib_documents("valid"))


def test_no_document_is_in_both_splits() -> None:
    """The validation split is new to the model."""
    train, valid = set(stdlib_documents("train")), set(stdlib_documents("valid"))
    assert not train & valid
    assert 10 * len(valid) < len(train) < 100 * len(valid)


def test_the_text_has_the_documentation_and_the_sources() -> None:
    """Both kinds of text are there, with the separator between the documents."""
    text = b"".join(stdlib_text("train", "<|endoftext|>"))
    documents = text.split(b"\n<|endoftext|>\n")
    assert len(documents) == len(list(stdlib_documents("train")))
    assert any(b"def " in document for document in documents)
    assert any(document.startswith(b"The ") for document in documents)
