"""What Apache loads. The daemon's working directory is the folder of imgprocessor.ini: see `home=`
in apache/imgprocessor.conf.
"""

from pathlib import Path

from imgprocessor.app import create_app

application = create_app(Path("imgprocessor.ini").resolve())
