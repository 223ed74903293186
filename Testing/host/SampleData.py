"""Stand-in for Slicer's module ``SampleData``: registered sources, loaded from local files or by their own downloader.

Nothing is downloaded: a source whose URI is neither a ``file:`` URI nor a local path raises.
"""

# ruff: noqa: N803, N806 (these are Slicer's names)

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import slicer


def _listed(value: Any, count: int) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value] * count


class SampleDataSource:
    """One data set: where its files are and what they become. The lists must have the same length."""

    def __init__(
        self,
        sampleName: str | None = None,
        sampleDescription: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        checksums: Any = None,
        loadFiles: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        loadFileTypes: Any = None,
        loadFileProperties: dict | None = None,
        loadFileType: Any = None,
    ) -> None:
        loadFileTypes = loadFileTypes or loadFileType
        self.sampleName, self.sampleDescription = sampleName, sampleDescription or sampleName
        self.customDownloader, self.thumbnailFileName = customDownloader, thumbnailFileName
        self.uris = [uris] if isinstance(uris, str) else uris
        count = len(self.uris)
        self.fileNames, self.nodeNames = _listed(fileNames, count), _listed(nodeNames, count)
        self.checksums, self.loadFiles = _listed(checksums, count), _listed(loadFiles, count)
        self.loadFileTypes, self.loadFileProperties = _listed(loadFileTypes, count), loadFileProperties or {}
        lists = (self.fileNames, self.nodeNames, self.checksums, self.loadFiles, self.loadFileTypes)
        if any(len(values) != count for values in lists):
            raise ValueError("All fields of sample data source must have the same length")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SampleDataSource) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class SampleDataLogic:
    """Registers and loads sources."""

    def __init__(self, logMessage: Any = None) -> None:
        self.logMessage = logMessage

    @staticmethod
    def registerCustomSampleDataCategory(category: str, title: str) -> None:
        """Give a category a title for people."""
        if not hasattr(slicer.modules, "sampleDataSourceCategories"):
            slicer.modules.sampleDataSourceCategories = {}
        slicer.modules.sampleDataSourceCategories.setdefault(category, {})["title"] = title

    @staticmethod
    def categoryTitle(category: str) -> str:
        """The title of a category, or its name where it has none."""
        return getattr(slicer.modules, "sampleDataSourceCategories", {}).get(category, {}).get("title", category)

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        loadFileTypes: Any = None,
        loadFiles: Any = None,
        loadFileProperties: dict = {},  # noqa: B006  as in Slicer
        checksums: Any = None,
        loadFileType: Any = None,
    ) -> None:
        """Add a source to a category, unless the same is there."""
        if loadFileType is not None and loadFileTypes is not None:
            raise ValueError("loadFileType and loadFileTypes cannot be specified at the same time")
        source = SampleDataSource(
            sampleName=sampleName, uris=uris, fileNames=fileNames, nodeNames=nodeNames, checksums=checksums,
            loadFiles=loadFiles, customDownloader=customDownloader, thumbnailFileName=thumbnailFileName,
            loadFileTypes=loadFileTypes, loadFileType=loadFileType, loadFileProperties=loadFileProperties,
        )  # fmt: skip
        if not SampleDataLogic.isSampleDataSourceRegistered(category, source):
            slicer.modules.sampleDataSources.setdefault(category, []).append(source)

    @staticmethod
    def isSampleDataSourceRegistered(category: str, sampleDataSource: SampleDataSource) -> bool:
        """Whether a category has a source that says the same."""
        if not hasattr(slicer.modules, "sampleDataSources"):
            slicer.modules.sampleDataSources = {}
        return sampleDataSource in slicer.modules.sampleDataSources.get(category, [])

    def sourceForSampleName(self, sampleName: str) -> SampleDataSource | None:
        """The source of that name in any category."""
        categories = getattr(slicer.modules, "sampleDataSources", {}).values()
        return next((s for sources in categories for s in sources if s.sampleName == sampleName), None)

    def downloadFromSource(
        self, source: SampleDataSource, maximumAttemptsCount: int = 3, forceDownload: bool = False
    ) -> list[Any]:
        """Load the files of a source; returns the nodes (or the paths of files not to be loaded)."""
        if source.customDownloader is not None:
            source.customDownloader(source)
            return []
        return [self._load(source, index) for index in range(len(source.uris))]

    def downloadSample(self, sampleName: str) -> Any:
        """The first node of the source of that name."""
        return self.downloadSamples(sampleName)[0]

    def downloadSamples(self, sampleName: str) -> list[Any]:
        """All nodes of the source of that name."""
        source = self.sourceForSampleName(sampleName)
        if source is None:
            raise ValueError(f"there is no sample data set named {sampleName}")
        return self.downloadFromSource(source)

    @staticmethod
    def _load(source: SampleDataSource, index: int) -> Any:
        uri = source.uris[index]
        path = Path(unquote(urlparse(uri).path) if uri.startswith("file:") else uri)
        if not path.is_file():
            raise RuntimeError(f"the test host downloads nothing, and {uri} is not a local file")
        if source.loadFiles[index] is False:
            return str(path)
        properties = dict(source.loadFileProperties)
        if source.nodeNames[index]:
            properties["name"] = source.nodeNames[index]
        return slicer.util.loadNodeFromFile(str(path), source.loadFileTypes[index], properties)


def downloadSample(sampleName: str) -> Any:
    """The first node of the source of that name."""
    return SampleDataLogic().downloadSample(sampleName)
