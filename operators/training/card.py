"""The card of a model folder, written from its description."""

from __future__ import annotations

from operators.model_description import ModelDescription

_PURPOSE = {
    "text": "what is said: sentiment and emotions of an utterance's words",
    "audio": "how it is said: emotions of an utterance's sound",
    "video": "what the face shows: emotions of an aligned face, averaged over the frames of a segment",
}
_LIMITS = {
    "text": (
        "MOSI is film reviews by English speakers, MELD the scripted dialogue of one television series: irony, other "
        "topics and other languages are outside. Transcription errors were made up (words dropped, repeated, or taken for "
        "others that sound alike, 15 % of them wrong), not heard. Without punctuation emotions are found less often: "
        "*captions* are capitals without any. Each utterance is read alone, without those before it. The figures of "
        "calibration were measured cross-fitted: the temperature by rows of other folds, the width of the interval by other "
        "videos. The epoch of each seed was chosen on the same validation rows, so all figures flatter a little."
    ),
    "audio": (
        "Trained on actors 1-14, calibrated on 15-18 (figures *valid*); the figures of *folds* are of the same recipe trained "
        "without the actors who are judged, each of the 18 left out once, and tell what a new actor may expect. Their "
        "intervals draw clips, not actors, of whom there are few. Layers and recipe were chosen on actors left out too, so "
        "figures flatter a little. *noise* is pink noise 10 dB fainter than the voice or as loud, *8_khz* has nothing above "
        "4 kHz. The figure of calibration is of the seven published emotions, each actor's temperature set by others. "
        "RAVDESS is 24 North American actors who say two sentences on purpose in an emotion: everyday speech is fainter and "
        "mixed. Recordings unlike RAVDESS's (read or public speech measured) get fainter probabilities by their distance, "
        "which makes them less sure and not more right; other languages were not tried."
    ),
    "video": (
        "FER2013 is pictures from the web labelled by their search words, of which people agree on about two thirds; "
        "skin tones, ages and head poses are unevenly represented, disgust and fear are often missed. Who is shown is not "
        "known, so there are no figures by group."
    ),
}
_DATA = {
    "text": "the folder that holds mosi/ and meld/",
    "audio": "RAVDESS's folder. From an empty cache it gives the same weights to the byte, on machines of the kind that "
    "trained them",
    "video": "FER2013's folder",
    "fusion": "the folder that holds ravdess/, meld/, fer2013/ and mosi/; after the parts",
}


_FUSED = (
    "no data here has words, voice and face of one person with a label, so the three are not calibrated jointly: "
    "reliabilities come from different data sets, and evidence adds up as if modalities erred independently given the "
    "emotion, which those of one person need not."
)


def card_of(description: ModelDescription) -> str:
    """The card as Markdown."""
    parts = description.parts
    lines = [
        f"# {description.name}",
        "",
        "Predicts sentiment, emotions, valence and arousal of a segment of speech or silence from "
        + ", ".join(parts)
        + " (whatever of it is there), fused at decision level. Written by `affectstream train`; formulas: docs/numbers.md.",
        "",
        "## Use",
        "Describing expressed affect in recordings and live streams of people who agreed to it, for research.",
        "",
        "| part | reads | encoder |",
        "|---|---|---|",
        *(f"| {name} | {_PURPOSE[name]} | {part.encoder} |" for name, part in parts.items()),
        "",
        "## Out of scope",
        "Inner states can't be read off a face, a voice or a sentence. Not for decisions about people (hiring, teaching, "
        "credit, policing, health), not for emotion inference at work or in education, which the EU AI Act forbids but for "
        "medical or safety reasons, and not for anyone who has not consented.",
        "",
        "## Data and licences",
        f"Permitted use of the whole: **{description.permitted_use}**, the most restrictive below.",
        "",
        "| file | data | licence | use |",
        "|---|---|---|---|",
        *(f"| {name} | {w.data} | {w.licence} | {w.use} |" for name, w in description.weights.items()),
        *(f"| package {base.package} | its own | {base.licence} | any |" for base in description.base_weights),
        "",
        "## Metrics",
        "On validation rows, which also set temperatures, intervals and reliabilities; test splits were not touched. *low* "
        "and *high* are the ends of 95 % bootstrap intervals; that of a calibration error allows for what chance adds to it "
        "on few rows (`operators/evaluation/calibration_interval.py`), and so may reach down to 0.",
        "",
        "| figure | value |",
        "|---|---|",
        *(f"| {name} | {value:g} |" for part in parts.values() for name, value in part.metrics.items()),
        *(f"| {name} | {value:g} |" for name, value in description.fusion.metrics.items()),
        *(f"| reliability of {name} in fusion | {part.emotion.reliability:.3f} |" for name, part in parts.items()),
        *(
            f"| half width of the sentiment interval at {part.sentiment.level:g} | {part.sentiment.half_width:.2f} |"
            for part in parts.values()
            if part.sentiment
        ),
        "",
        *_groups(description),
        *_fusion(description),
        "## Limits",
        *(f"- {name}: {_LIMITS[name]}" for name in parts),
        *([f"- fusion: {_FUSED}"] if len(parts) > 1 else []),
        "",
        "## Command",
        "Each with `--output DIR` and with `--data` as said:",
        "",
        *(f"- `{command}`: {_DATA[name]}" for name, command in _commands(description).items()),
        "",
    ]
    return "\n".join(lines)


def _commands(description: ModelDescription) -> dict[str, str]:
    """What trained the parts and fitted the fusion, by their names."""
    commands = {name: part.command for name, part in description.parts.items()} | {"fusion": description.fusion.command}
    return {name: command for name, command in commands.items() if command}


def _groups(description: ModelDescription) -> list[str]:
    """A table of each figure that is known by group."""
    tables = [(name, of) for part in description.parts.values() for name, of in part.groups.items()]
    if not tables:
        return []
    lines = ["## By group", "Of the data's own groups; few rows each: differences within the intervals above are chance.", ""]
    for name, of in tables:
        lines += [f"| {name} | value |", "|---|---|", *(f"| {group} | {value:g} |" for group, value in of.items()), ""]
    return lines


def _fusion(description: ModelDescription) -> list[str]:
    """What was fitted to modalities together, and what its figures are of."""
    fusion = description.fusion
    if not fusion.trust:
        return []
    trusted = ", ".join(f"{name} {value:g}" for name, value in fusion.trust.items())
    return [
        "## Fusion",
        f"Trust beside other modalities: {trusted}, others 1. Fitted on {fusion.data}, by `{fusion.command}`: in equal parts "
        "on actors who say neutral words in every emotion (words tell nothing beside the voice) and on voices with other "
        "people's words of the same emotion (words err independently). Figures are cross-fitted: each actor's rows under the "
        "trust that the others set; the heads' own temperatures were not fitted again. *composed* are voices of RAVDESS with "
        "words of MELD dev and faces of FER2013 valid of the same emotion: it proves the fusion on real heads, and is no "
        "figure of real people; of one modality alone it also tells what other frequencies of the emotions do to a "
        "calibration. *calibration_error_if_perfect* is what chance alone makes of so many rows.",
        "",
    ]
