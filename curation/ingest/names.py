"""What a file's name says: that it can't be audio, that it claims to be, or nothing.

Content decides what is audio. A name only spares the opening of files that can't be, and tells
whether one that is none was meant to be. The lists are ours, so that every machine reads the same.
"""

from __future__ import annotations

from pathlib import PurePosixPath

# Text, images, archives, code, models and tables; not `.ts`, which is a video as often as a script.
_NO_AUDIO = """
.txt .md .rst .json .jsonl .yaml .yml .toml .ini .cfg .csv .tsv .xml .html .htm .css .log .tex
.srt .vtt .lrc .ass .textgrid .eaf .trs .ctm .stm .lab .bib .nfo .cue .m3u .m3u8 .pls .pdf
.doc .docx .odt .rtf .xls .xlsx .ods .ppt .pptx .epub .jpg .jpeg .png .gif .bmp .tif .tiff
.webp .svg .ico .heic .psd .zip .tar .gz .tgz .bz2 .xz .zst .7z .rar .iso .py .pyc .ipynb .js
.sh .bat .pl .c .h .cpp .java .rs .go .so .dll .exe .whl .parquet .arrow .feather .npy .npz
.pkl .h5 .hdf5 .sqlite .pt .pth .onnx .safetensors .md5 .sha1 .sha256 .sig .asc
"""
_AUDIO = """
.wav .wave .w64 .rf64 .bwf .aif .aiff .aifc .caf .au .snd .sph .voc .flac .ape .wv .tta .tak
.mp1 .mp2 .mp3 .mpga .aac .m4a .m4b .mp4 .m4v .mov .3gp .3g2 .ogg .oga .ogv .opus .spx .webm
.mka .mkv .wma .wmv .asf .amr .awb .ac3 .eac3 .dts .gsm .g722 .ra .rm .avi .mpg .mpeg .mts
.m2ts .vob .flv .dsf .dff .mpc
"""
NO_AUDIO, AUDIO = frozenset(_NO_AUDIO.split()), frozenset(_AUDIO.split())


def says_audio(path: str) -> bool | None:
    """Whether a name says audio or video; None where only the content can tell."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in AUDIO:
        return True
    return False if suffix in NO_AUDIO else None
