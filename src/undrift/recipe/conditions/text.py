"""A condition of texts: the caption of each example, as a sequence of embedded words."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field
from torch import nn

from undrift.condition import Condition
from undrift.data import Dataset, Spec
from undrift.data.captions import Captioned
from undrift.data.words import Vocabulary
from undrift.error import RecipeError, UndriftError
from undrift.nn.text import Reader, TextEncoder
from undrift.recipe.conditions.base import ConditionKind
from undrift.schema import Text

EXAMPLES = 8  # texts that a model keeps, to show itself with
WORDS = 2**20  # of a vocabulary, at most


class TextOptions(ConditionKind):
    """The caption of each example is told, embedded in `width` numbers a word."""

    needs: ClassVar[str] = "a text"
    kind: Literal["text"] = "text"
    width: Annotated[int, Field(ge=1, le=4096)] = Field(default=64, description="numbers in which a word is embedded")

    @classmethod
    def described(cls) -> type[TextOptions]:
        """With the words of the data."""
        return ReadText

    def describe(self, data: Dataset) -> dict[str, Any]:
        """With the words, the longest text, and a few texts. Raises RecipeError for data without texts."""
        if not isinstance(data, Captioned):
            raise RecipeError(f"condition.kind=text needs data with captions; {data.name} have none (data.kind=captions has)")
        known = data.vocabulary
        examples = list(dict.fromkeys(data.texts))[:EXAMPLES]
        return {**self.model_dump(mode="json"), "words": list(known.words), "length": known.length, "examples": examples}

    def arguments(self, shape: tuple[int, ...]) -> dict[str, int]:
        """A sequence of embedded words."""
        return {"sequence": self.width}


def _distinct(words: list[str]) -> list[str]:
    if not all(words) or len({*words}) < len(words):
        raise ValueError("the words must be distinct, and none may be empty")
    return words


class ReadText(TextOptions):
    """What a model that reads text knows: the words, how long texts are, and a few of them."""

    words: Annotated[list[Text], Field(min_length=1, max_length=WORDS), AfterValidator(_distinct)]
    length: Annotated[int, Field(ge=1, le=4096)]
    texts: Annotated[list[Text], Field(min_length=1, max_length=1024, alias="examples")]

    @property
    def vocabulary(self) -> Vocabulary:
        """The words, as they are numbered."""
        return Vocabulary(tuple(self.words), self.length)

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network behind what embeds words."""
        return Reader(network, TextEncoder(len(self.words), self.length, self.width))

    def reads(self, spec: Spec) -> str:
        """The words that it knows."""
        return f"text of up to {self.length} words of {len(self.words)}: {', '.join(self.words)}"

    def examples(self, spec: Spec) -> list[Any]:
        """A few texts."""
        return list(self.texts)

    def asked(self, each: list[Any]) -> Condition:
        """Texts as the numbers of their words. Raises UndriftError for an unknown word, or what is no text."""
        texts = [text for text in each if isinstance(text, str)]
        if len(texts) < len(each):
            raise UndriftError(f'this model reads text, not class numbers; ask for one like "{self.texts[0]}"')
        return self.vocabulary.condition(texts)
