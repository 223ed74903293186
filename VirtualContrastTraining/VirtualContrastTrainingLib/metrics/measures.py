"""Every measure of the training library as a record, by what it is taken of.

To add one: a record here (for a pair of slices with its function), or beside the computation that gives it with others.
"""

from __future__ import annotations

from VirtualContrastLib.metrics.measure import Measure

from .slice_pair import SlicePair

IMAGE = (
    Measure("mse", "MSE", "files squared", "lower",
            "mean squared error, squared units of the files; 0 and up, 0 is equal", SlicePair.mse),
    Measure("mae", "MAE", "files", "lower",
            "mean absolute error, units of the files; 0 and up, 0 is equal", SlicePair.mae),
    Measure("psnr", "PSNR (dB)", "dB", "higher", "10 log10(range^2 / MSE) in dB; higher is closer", SlicePair.psnr),
    Measure("ssim", "SSIM", "", "higher",
            "Gaussian 11 x 11 window, sigma 1.5, population covariance, windows inside the slice; -1 to 1, 1 is equal",
            SlicePair.ssim),
    Measure("ms_ssim", "MS-SSIM", "", "higher",
            "five scales, torchmetrics' definition; 0 to 1, 1 is equal", SlicePair.ms_ssim),
    Measure("lpips", "LPIPS", "", "lower",
            "AlexNet, version 0.1, on the data range mapped to [-1, 1]; 0 and up, 0 is equal", SlicePair.lpips),
)  # fmt: skip
"""Of a pair of slices, real and synthetic."""

DISTANCE = (
    Measure("fid", "FID", "features squared", "lower",
            "squared Frechet distance of Gaussians fitted to the network's features, covariance with N - 1; 0 and up, "
            "0 is equal, in squared units of the features; grows with small N"),
    Measure("kid", "KID", "", "lower",
            "unbiased squared MMD with a cubic kernel, mean over subsets of 100; about 0 for equal sets at any N, and "
            "may be slightly negative"),
)  # fmt: skip
"""Of two sets of images, on the features of a network."""

RADIOMICS = (
    Measure("frd_v0", "FRD v0", "", "lower",
            "version 0: squared Frechet distance of features scaled to 0..7.457 over both sets; 0 and up, 0 is equal"),
    Measure("frd_v0_zscore", "FRD v0 z-score", "", "lower",
            "version 0 with z-scores over both sets, times 7.457; 0 and up, 0 is equal"),
    Measure("frd_v0_as_published", "FRD v0 as published", "", "lower",
            "version 0 with each set z-scored by itself, as frd-score 0.0.2 does under --norm_across: means never "
            "differ; 0 and up"),
    Measure("frd_v1", "FRD v1", "", "lower",
            "version 1: log of the squared Frechet distance of z-scores by the real set; lower is closer. Equal to "
            "frd-score 1.0.1, which is not a part of this program, within 1e-6"),
)  # fmt: skip
"""Of two sets of lesions, on radiomics features."""

SEGMENTATION = (
    Measure("dice", "Dice", "", "higher",
            "mean over cases, 1 where truth and prediction are both empty; no component is removed before"),
    Measure("hd95", "HD95 (mm)", "mm", "lower",
            "larger of the two directed 95th percentiles between surface voxels, mean over cases in which both have "
            "voxels"),
    Measure("sensitivity", "lesion sensitivity", "", "higher",
            "share of true lesions (connected components) that the prediction touches"),
    Measure("false_positives", "false positives per case", "", "lower",
            "predicted components that touch no true lesion, mean over cases"),
)  # fmt: skip
"""Of predicted against true label maps."""

CURVES = (
    Measure("enhancement_error", "enhancement error (points of PE)", "percentage points", "lower",
            "mean over phases of |PE synthetic - PE real| of the lesion's mean curve, percentage points"),
    Measure("enhancement_error_squared", "squared enhancement error", "", "lower",
            "mean over phases of the squared difference of PE / 100, in squared units of the pre-contrast signal"),
    Measure("spearman", "SCC", "", "higher", "rank correlation of the two curves, pre-contrast included"),
    Measure("dtw", "DTW (points of PE)", "percentage points", "lower",
            "dynamic time warping: least sum of |PE synthetic - PE real| over all alignments of the two curves that "
            "keep the order of phases and skip none, percentage points"),
    Measure("same_order", "same order of phases", "", "higher",
            "share of lesions whose phases, pre-contrast included, are ranked alike by signal"),
    Measure("same_order_as_published", "same order of phases, as published", "", "higher",
            "the same of 8-bit volumes, each phase by its own minimum and maximum, as mean of slice means"),
    Measure("same_type", "same curve type", "", "higher",
            "share of lesions with equal curve type, where both could be assessed"),
    Measure("kappa", "kappa", "", "higher", "Cohen's unweighted kappa of curve types"),
)  # fmt: skip
"""Of the two curves of lesions."""

READERS = (
    Measure("accuracy", "accuracy", "", "higher", "share of reads whose lesion yes/no is the truth; 0 to 1"),
    Measure("sensitivity", "sensitivity", "", "higher",
            "share of reads of cases with a lesion in which one was seen; 0 to 1"),
    Measure("specificity", "specificity", "", "higher",
            "share of reads of cases without a lesion in which none was seen; 0 to 1"),
    Measure("kappa", "weighted kappa", "", "higher",
            "Cohen's kappa of two BPE ratings of the same cases with the weights named; -1 to 1, 0 is chance, 1 is "
            "equal"),
    Measure("dichotomized", "dichotomized BPE accuracy", "", "higher",
            "share of cases that both ratings put on one side, minimal or mild against moderate or marked; 0 to 1"),
    Measure("hallucinations", "hallucinations reported", "", None,
            "share of images that the reader reported to show something invented; 0 to 1"),
    Measure("p", "p", "", None,
            "two-sided Wilcoxon signed-rank test by case of the endpoint: BPE grades 0 to 3, detection 1 where right, "
            "else 0, or scores; p_adjusted over all tests"),
    Measure("median", "median difference", "", None,
            "median of the paired differences, second minus first, in units of the endpoint; mean likewise"),
)  # fmt: skip
"""Of a reader study."""

CHALLENGE = (
    Measure("mse", "MSE (z-scores)", "", "lower",
            "mean squared error of whole slices in z-scores (value - 107.41) / 219.96; 0 and up, 0 is equal"),
    Measure("lpips", "LPIPS", "", "lower",
            "LPIPS (AlexNet) of z-scores cut at 5 and divided by 5; 0 and up, 0 is equal"),
    Measure("ssim_tumor", "SSIM in the tumor", "", "higher",
            "mean over the tumor of the SSIM map (7 x 7 window) of z-scores, data range 10; -1 to 1, 1 is equal"),
    Measure("frd", "FRD", "", "lower",
            "radiomics distance version 1 of the tumors: log of the squared Frechet distance; lower is closer"),
    Measure("auroc_contrast", "AUROC contrast", "", "higher",
            "how well the challenge's classifier distinguishes synthetic from pre-contrast images; 0 to 1, 1 is best"),
    Measure("auroc_tumor_roi", "AUROC tumor", "", "higher",
            "how well its classifier distinguishes the tumor from its mirror image in the synthetic image; 0 to 1"),
    Measure("dice", "Dice", "", "higher",
            "of the mask found on the synthetic image with the true one; 0 to 1; cases without a mask found left out"),
    Measure("hausdorff_95", "HD95 (pixels)", "px", "lower",
            "pixels; surface of either mask to the other mask, both directions together; 0 is equal"),
)  # fmt: skip
"""Of the MAMA-SYNTH 2026 challenge, in the order of its own table."""

MAMMOGRAM = (
    Measure("cnr", "CNR", "", None,
            "|mean adipose - mean fibroglandular| / (sd adipose + sd fibroglandular), no unit, 0 and up; tissues as "
            "annotated (--tissues), else by Otsu on the low-energy image, twice, for the breast and within it, where "
            "attenuating tissue is bright"),
    Measure("adipose", "adipose", "files", None, "mean gray value of adipose tissue, units of the files"),
    Measure("fibroglandular", "fibroglandular", "files", None,
            "mean gray value of fibroglandular tissue, units of the files"),
    Measure("halo", "halo", "", None,
            "mean of the breast's rim minus mean of the band behind it, in standard deviations of that band; 0 is no "
            "halo; a measure of ours, the paper only describes it"),
    Measure("mae", "MAE from low energy", "files", None,
            "mean absolute difference from the low-energy image in the breast, units of the files; 0 is unchanged"),
    Measure("ssim", "SSIM with low energy", "", None,
            "SSIM with the low-energy image in the breast, range of the low-energy and the real image together; 1 is "
            "unchanged"),
)  # fmt: skip
"""Of one mammogram, low-energy, real or synthetic."""

OVER_IMAGES = Measure(
    "correlation_over_images", "correlation over images", "", None,
    "Pearson's r of the real and the synthetic image's value, -1 to 1 (as the paper's r of MAE and SSIM)",
)  # fmt: skip

CHANGE = (
    Measure("change_mae", "MAE of the change", "files", "lower",
            "mean absolute error of the change from the low-energy mammogram, units of the files; 0 is equal"),
    Measure("change_ssim", "SSIM of the change", "", "higher",
            "SSIM of the change from the low-energy mammogram, in the breast; -1 to 1, 1 is equal"),
    Measure("change_pearson", "correlation of the change", "", "higher",
            "Pearson's r over pixels of the change from the low-energy mammogram, in the breast"),
)  # fmt: skip
"""Of the change that contrast makes in a mammogram."""

EVERY = (*IMAGE, *DISTANCE, *RADIOMICS, *SEGMENTATION, *CURVES, *READERS, *CHALLENGE, *MAMMOGRAM, OVER_IMAGES, *CHANGE)
