"""Three images of one configuration in one registry, and the commands that keep them current."""

import json
import os

from support import handmade
from support.commands import completed_in_process, xgbpatch
from support.handmade_bases import HandBase

OLD = HandBase()


class ImageRepository:
    """Three images of one configuration, each on a base of its own, in one registry."""

    names = ("churn", "fraud", "risk")

    def __init__(self, loopback, folder):
        self.loopback, self.folder = loopback, folder
        self.services = handmade.services_on(folder / "cache")
        for name in self.names:
            self.move(name, OLD)
        self.write(loopback.host)

    def write(self, base_host):
        tables = [f'[images.{name}]\nbase_image = "{base_host}/base-{name}:3.2-0"\nrepository = "{name}"\n'
                  for name in self.names]  # fmt: skip
        text = 'version = "3.2-0"\nfeatures = ["shap"]\n' + "".join(tables)
        (self.folder / "xgbpatch.toml").write_text(text)

    def lose(self, name):
        """The base of one image is nowhere."""
        file = self.folder / "xgbpatch.toml"
        file.write_text(file.read_text().replace(f"base-{name}", "gone"))

    def move(self, name, base):
        return handmade.put(self.services, self.loopback.reference(f"base-{name}:3.2-0"), base.image)

    def arguments(self, *more, command="rebuild"):
        return [command, "--builder", "registry", "--registry", self.loopback.host, *more]

    def variables(self):
        return {"XDG_CACHE_HOME": str(self.folder / "cache"), "DOCKER_HOST": "unix:///no/such/socket"}

    def environ(self):
        return {**os.environ, **self.variables()}

    def text(self, *more, command="rebuild"):
        """What the command answers. A `rebuild` of several images, which starts processes, is the installed one."""
        arguments = self.arguments(*more, command=command)
        if command != "rebuild" or "--image" in more:
            return completed_in_process(*arguments, folder=self.folder, environment=self.variables())
        return xgbpatch(*arguments, environment=self.environ(), folder=self.folder)

    def run(self, *more):
        completed = self.text("--json", *more)
        images = json.loads(completed.stdout)["images"] if completed.stdout else []
        return completed, {image["name"]: image for image in images}

    def publish(self):
        """Every image is current afterwards."""
        for name in self.names:
            completed = self.text("--no-test", "--image", name)
            assert completed.returncode == 0, completed.stderr
