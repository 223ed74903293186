"""What a DICOM header says of body part, contrast agent, fat suppression and weighting: grounds to refuse or warn."""

from __future__ import annotations

import re

from ..loaded import MARKED_SYNTHETIC
from .headers import SeriesHeader

_POST_WORDS = re.compile(
    r"(?<![a-z])(post|gad|gd|kontrast|contrast|sub|subtr\w*)(?![a-z])|\+ ?c(?![a-z])|(?<![a-z])c ?\+", re.I
)
_PRE_WORDS = re.compile(r"(?<![a-z])(pre|non|no|ohne|without|native?)(?![a-z])", re.I)
_RECOMBINED_WORDS = re.compile(r"recomb|subtract|iodine|high[ _-]?energy", re.I)
_SUPPRESSION_WORDS = re.compile(r"fs|fat ?-?sat|spai?r|stir|dixon|water|vibrant|suppress|we(?![a-z])", re.I)

_BREAST_WORDS = re.compile(r"breast|mamm|brust|sein|mama|thorax|chest|torso|body", re.I)
_OTHER_SEQUENCES = {"EP", "SE"}
_OTHER_WORDS = re.compile(r"(?<![a-z])(t2|flair|dwi|adc|diff\w*|mp-?rage|tirm|locali[sz]er|scout)(?![a-z])", re.I)


def refusals(header: SeriesHeader, name: str) -> list[str]:
    """Why a series cannot be a breast MRI before contrast by its header, as sentences; headers often say nothing."""
    if header.modality != "MR":
        return []
    hints, found = header.hints, []
    if hints["body part"] and not _BREAST_WORDS.search(hints["body part"]):
        found.append(f"{name} names the body part {hints['body part']} in its header; the models read breasts.")
    if "SUB" in hints["image type"]:
        found.append(f"{name} is a subtraction by its image type, not an acquired image.")
    if _over(hints["echo time"], 20.0) or _over(hints["b value"], 0.0):
        found.append(
            f"{name} is not T1-weighted by its header "
            f"(echo time {hints['echo time'] or '?'} ms or diffusion weighting)."
        )
    return found


def contrast_warnings(header: SeriesHeader, name: str) -> list[str]:
    """What in a header speaks against a fat-suppressed T1-weighted image before contrast, as sentences."""
    hints, description = header.hints, header.description
    found = []
    if header.modality == "MR" and (_OTHER_SEQUENCES & set(hints["sequence"].upper().split())):
        found.append(f"{name} is not a gradient-echo image by its header (sequence {hints['sequence']}).")
    elif _OTHER_WORDS.search(header.description):
        found.append(f"{name} is not a dynamic T1-weighted series by its description.")
    if hints["agent"]:
        found.append(f"{name} names a contrast agent in its header: make sure that it is the pre-contrast phase.")
    elif _looks_enhanced(header):
        found.append(f"{name} looks like a post-contrast or subtraction series by its description or image type.")
    suppressed = "FS" in hints["scan options"].split() or _SUPPRESSION_WORDS.search(description)
    if header.modality == "MR" and not suppressed and (hints["scan options"] or hints["suppression"] == "NONE"):
        found.append(f"{name} does not indicate fat suppression in its header, which the models expect.")
    if header.photometric == "MONOCHROME1":
        found.append(f"{name} is stored with inverted display (MONOCHROME1); its values are used as stored.")
    return found


def synthetic_warnings(header: SeriesHeader, name: str) -> list[str]:
    """A sentence where a header says that the image is synthetic, which nothing should be made of or compared with."""
    return [MARKED_SYNTHETIC.format(name=name)] if header.hints["synthetic"].upper() == "YES" else []


def mammogram_warnings(header: SeriesHeader, name: str) -> list[str]:
    """What in a header speaks against an acquired low-energy mammogram, as sentences."""
    found = []
    if _RECOMBINED_WORDS.search(f"{header.description} {header.hints['image type']}"):
        found.append(f"{name} looks like a recombined or high-energy image; the models read the low-energy one.")
    return found


def _looks_enhanced(header: SeriesHeader) -> bool:
    described = _POST_WORDS.search(header.description) and not _PRE_WORDS.search(header.description)
    return bool(described)


def _over(text: str, limit: float) -> bool:
    """True where one of the numbers in `text` is above the limit."""
    try:
        return any(float(part) > limit for part in text.split())
    except ValueError:
        return False
