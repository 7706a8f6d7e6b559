"""What a text is worth: automata, expressions over words, classifiers."""
