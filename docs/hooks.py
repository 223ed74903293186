"""Pages and pictures that lie elsewhere in the repository, taken into the site under these names."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"architecture.md": "ARCHITECTURE.md", "contributing.md": "CONTRIBUTING.md", "changes.md": "CHANGELOG.md"}
PAGES |= {"security.md": "SECURITY.md", "third-party.md": "THIRD_PARTY.md"}
LINKS = {"CONTRIBUTING.md": "contributing.md", "ARCHITECTURE.md": "architecture.md", "SECURITY.md": "security.md"}
LINKS["CHANGELOG.md"] = "changes.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the screenshots and the pages of the repository's top."""
    for path in sorted((ROOT / "Resources" / "Screenshots").glob("*.png")):
        files.append(File.generated(config, f"pictures/{path.name}", abs_src_path=str(path)))
    for name, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        for old, new in LINKS.items():
            text = text.replace(f"]({old})", f"]({new})")
        text = text.replace("](Testing/", f"]({config.repo_url}/tree/main/Testing/")
        files.append(File.generated(config, name, content=text))
    return files
