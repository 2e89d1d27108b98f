"""The labels that a query names beside its selectors, in by, on and label_replace, as the target calls them; the same on both sides of an operator."""

from __future__ import annotations

from meshport.observe.edits import Edits
from meshport.observe.tokens import quoted
from meshport.observe.tree import Aggregation, Binary, Call, Expr, Labels, Word, label_arguments, label_asked
from meshport.observe.work import SCRAPED, SIDE_LABELS, Found, Refused, Work


def relabel(work: Work, node: Expr, under: list[Found], edits: Edits) -> None:
    own = work.own(node)
    if isinstance(node, Aggregation) and node.labels is not None:
        _list(work, node.labels, under, own, node.grouping == "without", edits)
    elif isinstance(node, Binary) and node.matching is not None:
        _list(work, node.matching.labels, under, own, node.matching.how == "ignoring", edits)
        if node.matching.include is not None:
            _list(work, node.matching.include, under, own, False, edits)
    elif isinstance(node, Call):
        _in_call(work, node, under, own, edits)


def _list(work: Work, labels: Labels, under: list[Found], own: set[str], taken_out: bool, edits: Edits) -> None:
    names: list[str] = []
    same = True
    for word in labels.words:
        made = (word.name,) if word.name in own or word.dynamic else _grouped(work, word, under, taken_out)
        same = same and made == (word.name,)
        names += [name for name in made if name not in names]
    if not same:
        edits.replace(labels.start, labels.end, "(" + ", ".join(names) + ")")


def _grouped(work: Work, word: Word, under: list[Found], taken_out: bool) -> tuple[str, ...]:
    """The labels that stand for one that groups; the same for all selectors below."""
    found: set[tuple[str, ...]] = set()
    for one in under:
        if taken_out and word.name in SCRAPED[work.source]:
            found.add(())
            continue
        if word.name in SCRAPED[work.source]:
            raise work.no_label(word.name)
        label = work.label(word, one)
        if label is None:
            found.add((word.name,))
            continue
        if label.name == "side":
            found.add((SIDE_LABELS[work.target],) if one.written is not None and not one.written.unsided else ())
            continue
        said = label.of(work.target, one.chosen, work.group_by)
        if said is None:
            if not taken_out:
                raise work.no_label(word.name)
            found.add(())
            continue
        names, near = said
        work.say_near(near, word.name, names)
        if label.value == "tls":
            work.say("MP829", label=word.name, target=names[0])
        if word.name in ("authority", "dst"):
            work.say("MP828", label=word.name)
        work.context.update(names)
        found.add(names)
    if len(found) > 1:
        raise Refused("MP804", metric=under[0].metric.name, what=f"whose {word.name} is meant", label=work.side_label())
    names = next(iter(found))
    if not taken_out and word.name != "le":
        work.renames[word.name] = names
    return names


def _in_call(work: Work, node: Call, under: list[Found], own: set[str], edits: Edits) -> None:
    word = label_asked(node)
    if word is not None:
        made = _grouped(work, word, under, False)
        edits.replace(word.start, word.end, made[0] if made else word.name)
        if len(made) > 1:
            work.say("MP815", label=made[0], holds="the Service's name alone")
        return
    for argument in label_arguments(node):
        if argument.value in own or argument.value in ("", "le"):
            continue
        made = _grouped(work, Word(argument.value, argument.start, argument.end), under, False)
        if len(made) != 1 and node.function.name == "label_replace":
            raise Refused("MP823", label=argument.value, why="label_replace takes one label, and several stand for this one")
        token = work.parsed.text[argument.start : argument.end]
        edits.replace(argument.start, argument.end, ", ".join(quoted(one, token[0]) for one in made))
