"""Trains the part on voices: emotions on RAVDESS, on the frozen speech encoder's inner states and prosody."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import torch
from torch import Tensor

from operators.calibration import fit_temperature, reliability
from operators.datasets.ravdess import LABELS, TRAIN_ACTORS, VALID_ACTORS, SpokenClip, read_ravdess
from operators.encoders import voice
from operators.evaluation.rows import check_every_class
from operators.evaluation.voice_robustness import DEGRADATIONS
from operators.interface import EMOTIONS
from operators.model import EmotionReader
from operators.model_description import EmotionHeadDescription, PartDescription, WeightsDescription
from operators.model_folder import ENCODERS, PartModules
from operators.packaged_weights import MOONSHINE_TINY
from operators.training import epochs as epochs_of_training
from operators.training import speech_features, speech_fitting
from operators.training.assembly import begin_folder, put_part
from operators.training.feature_cache import key_of, training_cache
from operators.training.progress import Track, silently
from operators.training.seeds import seed_figures
from operators.training.speech_features import CHANGED, PLAIN, VARIANTS, VoiceFeatures, clip_features
from operators.training.speech_figures import clip_figures, group_figures, unweighted_recall
from operators.training.speech_fitting import RECIPE, SpeechRecipe, fit_voice, logits_of, mean_of, shared_part, voice_rows

ACTORS: Final = tuple(sorted((*TRAIN_ACTORS, *VALID_ACTORS)))
FOLDS: Final = 6
"""Of actors left out: three at a time."""
FAMILIAR: Final = 0.95
"""Share of the validation clips within the distance that counts as familiar."""
LEARNT_FROM: Final = (PLAIN, *CHANGED)


class SpeechData(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """All clips, their features by variant, their classes int64 (n,) and actors int64 (n,)."""

    clips: Sequence[SpokenClip]
    features: Mapping[str, VoiceFeatures]
    classes: Tensor
    actors: Tensor

    def rows_of(self, actors: Sequence[int]) -> Tensor:
        """Which clips are of these actors: int64 (m,)."""
        return torch.isin(self.actors, torch.tensor(actors)).nonzero()[:, 0]


def train_speech(
    data: Path,
    output: Path,
    *,
    epochs: int = RECIPE.epochs,
    seeds: int = 5,
    folds: int = FOLDS,
    device: str = "cpu",
    seed: int = 0,
    alone: bool = False,
    track: Track = silently,
    recipe: SpeechRecipe = RECIPE,
) -> dict[str, float]:
    """Puts an audio part into the model folder `output`; the figures on actors who were not trained on.

    Of several `seeds`, from `seed` on, the members are put there side by side under one head, the mean of theirs. What is
    put there learnt from the training actors and is calibrated on the validation actors; how good the recipe is, `folds`
    trainings tell that each leave out some of all actors (0: none). A run that was broken off goes on where it was. `data`
    is RAVDESS's folder; raises `DatasetError` where something of it is missing.
    """
    clips = read_ravdess(data, ACTORS)
    for name, actors in (("train", TRAIN_ACTORS), ("valid", VALID_ACTORS)):
        check_every_class({LABELS[c.emotion] for c in clips if c.actor in actors}, LABELS, f"split {name} of RAVDESS in {data}")
    begin_folder(output, alone=alone)
    found = SpeechData(
        clips=clips,
        features={variant: clip_features(data, clips, variant, track) for variant in VARIANTS},
        classes=torch.tensor([clip.emotion for clip in clips]),
        actors=torch.tensor([clip.actor for clip in clips]),
    )
    sources = [
        Path(str(module.__file__)).read_bytes() for module in (voice, epochs_of_training, speech_features, speech_fitting)
    ]
    names = [f"{clip.path.relative_to(data)} {clip.path.stat().st_size}" for clip in clips]
    checkpoints = training_cache() / f"speech-{key_of(str(epochs), device, repr(recipe), *sources, *names)}"
    train, valid = found.rows_of(TRAIN_ACTORS), found.rows_of(VALID_ACTORS)
    shared = shared_part(found.features[PLAIN], train)
    rows = voice_rows(shared, [found.features[variant] for variant in LEARNT_FROM], train, found.classes)
    rows_valid = voice_rows(shared, [found.features[variant] for variant in (PLAIN, *DEGRADATIONS)], valid, found.classes)
    numbers = range(seed, seed + seeds)
    trained = [
        fit_voice(
            shared, len(LABELS), rows, rows_valid, checkpoints / str(s), epochs=epochs, device=device, seed=s, recipe=recipe
        )
        for s in numbers
    ]
    part = PartDescription(
        encoder=ENCODERS["audio"][0],
        weights="speech.safetensors",
        emotion=EmotionHeadDescription(labels=LABELS, temperature=1.0, reliability=0.0),
        members=seeds,
        command=f"affectstream train speech --epochs {epochs} --seeds {seeds} --folds {folds} --seed {seed}",
    )
    modules = PartModules("audio", part)
    pooling, head = mean_of(trained, rows)
    assert modules.pooling is not None  # a part of audio has one
    modules.pooling.load_state_dict(pooling.state_dict())
    modules.emotion.load_state_dict(head.state_dict())
    modules.eval()
    with torch.inference_mode():
        features = [modules.pooling.pool(*rows_valid.variant(k)) for k in range(1 + len(DEGRADATIONS))]
        logits = {name: modules.emotion(some) for name, some in zip((PLAIN, *DEGRADATIONS), features, strict=True)}
        familiar = float(modules.emotion.distance(features[0]).quantile(FAMILIAR))
    truth = rows_valid.classes
    temperature = fit_temperature(logits[PLAIN], truth)
    emotion = msgspec.structs.replace(part.emotion, temperature=temperature, familiar=familiar)
    published = torch.where(truth == LABELS.index("calm"), EMOTIONS.index("neutral"), truth)
    with torch.inference_mode():
        probabilities = EmotionReader(head=modules.emotion, about=emotion).probabilities(features[0])
    emotion = msgspec.structs.replace(emotion, reliability=reliability(torch.from_numpy(probabilities), published))
    clips_valid = [clips[k] for k in valid.tolist()]
    metrics = {f"ravdess_valid_{name}": value for name, value in clip_figures(logits, clips_valid).items()}
    groups = group_figures("ravdess_valid", logits[PLAIN], clips_valid)
    if seeds > 1:
        recalls = [unweighted_recall(logits_of(one, rows_valid), truth) for one in trained]
        metrics |= seed_figures([{"ravdess_valid_unweighted_recall": recall} for recall in recalls])
    if folds:
        left_out = leave_actors_out(found, folds, numbers, checkpoints, epochs, device, recipe, track)
        means = {variant: seen.mean(0) for variant, seen in left_out.items()}
        metrics |= {f"ravdess_{folds}_folds_{name}": value for name, value in clip_figures(means, clips).items()}
        groups = group_figures(f"ravdess_{folds}_folds", means[PLAIN], clips)
        if seeds > 1:
            recalls = [unweighted_recall(one, found.classes) for one in left_out[PLAIN]]
            metrics |= seed_figures([{f"ravdess_{folds}_folds_unweighted_recall": recall} for recall in recalls])
    put_part(
        output,
        "audio",
        msgspec.structs.replace(
            part, emotion=emotion, metrics={name: round(value, 4) for name, value in metrics.items()}, groups=groups
        ),
        modules,
        licence=WeightsDescription(
            sha256="0" * 64,
            licence="CC BY-NC-SA 4.0",
            use="non-commercial",
            data=f"RAVDESS speech, actors 1-14 ({len(train)} clips)",
        ),
        base=MOONSHINE_TINY,
    )
    shutil.rmtree(checkpoints, ignore_errors=True)
    return metrics


def leave_actors_out(
    data: SpeechData,
    folds: int,
    seeds: Sequence[int],
    checkpoints: Path,
    epochs: int,
    device: str,
    recipe: SpeechRecipe,
    track: Track,
) -> dict[str, Tensor]:
    """Logits (s, n, k) of all clips by s seeds that were trained without their actors, plain and under each degradation.

    Actor a is left out by fold a modulo `folds`: women and men in each. Nothing is chosen on those left out: each training
    goes on for all its epochs. What was trained stays in `checkpoints`.
    """
    variants = (PLAIN, *DEGRADATIONS)
    logits = {name: torch.zeros(len(seeds), len(data.classes), len(LABELS)) for name in variants}
    for fold in range(folds):
        out = [actor for actor in ACTORS if actor % folds == fold]
        held, kept = data.rows_of(out), data.rows_of([actor for actor in ACTORS if actor not in out])
        shared = shared_part(data.features[PLAIN], kept)
        rows = voice_rows(shared, [data.features[name] for name in LEARNT_FROM], kept, data.classes)
        asked = voice_rows(shared, [data.features[name] for name in variants], held, data.classes)
        for place, seed in enumerate(track(seeds, f"Without actors {', '.join(map(str, out))}")):
            kept_in = checkpoints / f"fold-{fold}-of-{folds}-seed-{seed}"
            one = fit_voice(shared, len(LABELS), rows, None, kept_in, epochs=epochs, device=device, seed=seed, recipe=recipe)
            for k, name in enumerate(variants):
                logits[name][place, held] = logits_of(one, asked, k)
    return logits
