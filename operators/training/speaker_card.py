"""The card of the active speaker's weights, written from their description."""

from __future__ import annotations

from operators.faces.speaker_folder import SpeakerDescription


def speaker_card(description: SpeakerDescription) -> str:
    """The card as Markdown."""
    figures = description.metrics
    lines = [
        "# speaker",
        "",
        "Which of several visible people is heard: two linear projections, of mouths at 25 frames a second and of the sound's "
        "cepstra, by canonical correlation (`operators/faces/speaker.py`). It lies beside the models: they all use it.",
        "",
        "## Use",
        "Naming the face whose affect a segment of speech shows, where several are visible. A face is named from a certainty "
        "of .8 on; below it the speaker is unknown.",
        "",
        "## Out of scope",
        "Telling who somebody is; more than one voice at a time; voices that are dubbed; deciding whether a film was tampered "
        "with.",
        "",
        "## Data and licences",
        f"{description.weights.data}; {description.weights.licence}; permitted use: {description.weights.use}. GRID is of "
        "Cooke et al. 2006; the clips are as far as one can see of 10 speakers. They were composed side by side, 720 x 288, in "
        "both orders, sizes 1:1, 1:.6 and .6:1, encoded (H.264, CRF 23) and followed by the live path itself.",
        "",
        "## Metrics",
        "Every pair of clips, each voice in turn, under projections fitted without either person, and a certainty fitted on "
        "pairs of others. `cases`: in which one speaks; they share the clips, so they are far from independent; the interval "
        "is a bootstrap over pairs. `named_where_neither_speaks`: the voice is half a clip out of time. `calibration_error`: "
        "of the more likely face's certainty. The number of projections, the offsets and the size of the mouth were chosen on "
        "these same pairs.",
        "",
    ]
    names = list(next(iter(figures.values()), {}))
    lines += ["| group | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    lines += [f"| {group} | " + " | ".join(f"{values[name]:g}" for name in names) + " |" for group, values in figures.items()]
    lines += [
        "",
        "By hand, with weights of the same command before its films were the same each time: plain correlation of motion with "
        "loudness is right in .63. Sound that is late by 40, 80, 120 ms: right in .94, .93, .87 of 2 s; early: .93, .89, .82; "
        "right where sure at least .92 in each.",
        "",
        "## Limits",
        "Ten speakers who read six words to the camera, in English, in one studio: spontaneous speech, heads turned away and "
        "other languages were not measured, and certainty is calibrated on these clips alone. Below 8 frames a second and for "
        "less than a second nobody is judged.",
        "",
        "## Command",
        f"`{description.command}` (DIR: the clips `*.mpg` of GRID in a folder), about three minutes; the same bytes each time "
        "on one machine.",
        "",
    ]
    return "\n".join(lines)
