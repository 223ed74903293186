"""Agreement of features over the lesions of many result folders, from the tables that the engine writes."""

import numpy as np
import pytest
from VirtualContrastLib.events import InputError
from VirtualContrastLib.export import tables
from VirtualContrastLib.kinetics.feature_agreement import concordance
from VirtualContrastLib.lesions.breast_tissue import BreastTissue
from VirtualContrastLib.lesions.radiomics import LesionRadiomics
from VirtualContrastTrainingLib.metrics.pooled_features import pooled_features

REAL = {("a", 1): 4.0, ("a", 2): 7.0, ("b", 1): 1.0}
MADE = {("a", 1): 5.0, ("a", 2): 7.5, ("b", 1): 0.5}


@pytest.fixture
def folders(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        rows = [
            LesionRadiomics(label, 2, 90.0, synthetic, {"shape_Sphericity": 0.5, "glcm_Contrast": values[case, label]})
            for synthetic, values in ((False, REAL), (True, MADE))
            for case, label in values
            if case == name
        ]
        rows.append(LesionRadiomics(1, 3, None, True, {"shape_Sphericity": 0.5, "glcm_Contrast": 9.0}))
        tables.write_radiomics_csv(tmp_path / name / "radiomics.csv", rows)
        tissue = [
            BreastTissue(side, 2, 90.0, made, 1e6, 2e5, 20.0, 10.0 + 5 * made, 30.0)
            for side in ("left", "right")
            for made in (True, False)
        ]
        tables.write_records_csv(tmp_path / name / "breast_tissue.csv", tissue)
    return [tmp_path / "a", tmp_path / "b"]


def test_lesions_of_all_folders_count_together_and_each_with_its_own(folders):
    found = {(one.kind, one.feature, one.phase): one for one in pooled_features([], folders)}
    assert set(found) == {
        ("radiomics", "glcm_Contrast", 2),
        ("background", "bpe_percent", 2),
        ("background", "bpe_share_percent", 2),
    }
    contrast = found["radiomics", "glcm_Contrast", 2]
    assert contrast.lesions == 3
    assert contrast.ccc == pytest.approx(concordance(list(MADE.values()), list(REAL.values())))
    assert contrast.bias == pytest.approx(np.mean([1.0, 0.5, -0.5]))
    background = found["background", "bpe_percent", 2]
    assert (background.lesions, background.bias) == (4, 5.0)


def test_a_damaged_table_is_named(folders):
    (folders[1] / "radiomics.csv").write_text("lesion,synthetic,phase,time_s,x\n1,true,two,,3\n")
    with pytest.raises(InputError, match=r"b/radiomics\.csv is not a readable table"):
        pooled_features([], folders)
