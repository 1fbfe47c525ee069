"""Do the user's servers let the user in? Asked before a run starts anything."""

import base64
import urllib.error
import urllib.request
from dataclasses import dataclass

from flows.settings import (
    mlflow_password,
    mlflow_token,
    prefect_api_url,
    prefect_auth_string,
    prefect_key,
    tracking_server,
)

TIMEOUT_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """A server of the user's, what it is asked, and who asks."""

    name: str
    url: str
    question: str
    """A path that answers only those who may come in."""
    token: str
    password: str
    """As `user:password`; "": none."""
    way_out: str

    @property
    def authorization(self) -> str:
        """Return what the HTTP header says; "": nothing."""
        if self.token:
            return f"Bearer {self.token}"
        encoded = base64.b64encode(self.password.encode()).decode()
        return f"Basic {encoded}" if self.password else ""


def prefect_login() -> Login:
    """Return the login to the server of PREFECT_API_URL."""
    return Login(
        name="the Prefect server",
        url=prefect_api_url().rstrip("/"),
        question="/admin/version",
        token=prefect_key(),
        password=prefect_auth_string(),
        way_out="set PREFECT_API_AUTH_STRING to the user:password that its administrator gave you",
    )


def mlflow_login() -> Login:
    """Return the login to the server of MLFLOW_TRACKING_URI."""
    return Login(
        name="MLflow",
        url=tracking_server(),
        question="/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default",
        token=mlflow_token(),
        password=mlflow_password(),
        way_out="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    )


def refuse_wrong_logins() -> None:
    """Raise `ValueError` where a server answers that it wants another login.

    One that does not answer at all is not judged here.
    """
    for login in (prefect_login(), mlflow_login()):
        if login.url and is_refused(login):
            raise ValueError(f"{login.name} at {login.url} refuses this user; {login.way_out}")


def is_refused(login: Login) -> bool:
    """Tell whether the server answers, and wants another login."""
    request = urllib.request.Request(login.url + login.question)
    if login.authorization:
        request.add_header("Authorization", login.authorization)
    try:
        urllib.request.urlopen(request, timeout=TIMEOUT_S).close()
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 401
    except (OSError, ValueError):
        return False
    return False
