"""The oldest versions that settings.ini permits, one a line, as pip's -r and -c read them.

usage: python tools/oldest.py [NAME ...]     the packages named, such as torch numpy; none means all required
"""
import re
import sys
import cloud


def oldest(requirements: str, names: list) -> list:
    "Pins at the lower bounds: 'torch>=2.6 fastcore>=1.7,<2' gives torch==2.6 and fastcore==1.7."
    bounds = dict(re.match(r'([\w-]+)[>=]=([\w.]+)', r).groups() for r in requirements.split())
    unknown = [n for n in names if n not in bounds]
    if unknown: raise SystemExit(f"{unknown[0]} is not required: take one of {', '.join(bounds)}.")
    return [f'{name}=={low}' for name, low in bounds.items() if not names or name in names]


if __name__ == '__main__': print(*oldest(cloud.settings()['requirements'], sys.argv[1:]), sep='\n')
