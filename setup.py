"Package metadata, read from settings.ini so that every setting is written once."
import re
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

here = Path(__file__).parent
ini = ConfigParser(delimiters=['='], comment_prefixes=['#'])
ini.read(here/'settings.ini', encoding='utf-8')
cfg = ini['DEFAULT']

files = [
    'book/*.json', 'generators/*.safetensors', 'static/*.js', 'static/*.css', 'yardsticks/*.json',
    'yardsticks/*.safetensors',
]
beside = {  # what chapters look up when no checkout is near: folder of the package -> files of the repository
    'book/results': sorted((here/'results').glob('bench_*.json')),
    'book/images': sorted((here/'nbs'/'images').glob('*.*')),
}


class WithWhatChaptersLookUp(build_py):
    "Packs copies of them; an editable install has no need of that, and finds them in the repository."
    def run(self):
        super().run()
        for folder, paths in ({} if self.editable_mode else beside).items():
            to = Path(self.build_lib)/'ganbook'/folder
            self.mkpath(str(to))
            for path in paths: self.copy_file(str(path), str(to/path.name))


def long_description() -> str:
    "The README, whose links and pictures lead to the repository, since it is also read elsewhere."
    files, pictures = f"{cfg['git_url']}/blob/{cfg['branch']}", f"{cfg['git_url']}/raw/{cfg['branch']}"
    def turn(found):
        start, to, end = found.groups()
        if re.match(r'[a-z]+:|#', to): return found[0]
        return f'{start}{pictures if start.startswith("!") else files}/{to}{end}'
    text = (here/'README.md').read_text(encoding='utf-8')
    return re.sub(r'(!?\[[^\]]*\]\()([^)\s]+)(\))', turn, text)


setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    keywords=cfg['keywords'],
    author=cfg['author'],
    author_email=cfg['author_email'],
    url=cfg['git_url'],
    license='Apache-2.0',
    long_description=long_description(),
    long_description_content_type='text/markdown',
    packages=find_packages(include=['ganbook', 'ganbook.*']),
    cmdclass=dict(build_py=WithWhatChaptersLookUp),
    zip_safe=False,
    include_package_data=False,
    package_data={'ganbook': files},
    python_requires=f">={cfg['min_python']}",
    install_requires=cfg['requirements'].split(),
    extras_require={name: cfg[f'{name}_requirements'].split() for name in ('dev', 'onnx', 'mnist')},
    entry_points={
        'console_scripts': cfg['console_scripts'].split(),
        'nbdev': [f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"],
    },
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Education',
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
)
