"""Django view that accepts access tokens of Latchkey, with simplejwt's JWTAuthentication.

Uses the settings in simple_jwt.py and the user model in people/models.py. The first argument is the Latchkey id of the
user ada. Sends each further argument as a token to the view, and prints status and body as a line of JSON.
"""

import json
import sys

import django
from django.conf import settings
from simple_jwt import SIMPLE_JWT

settings.configure(
    ALLOWED_HOSTS=["testserver"],
    AUTH_USER_MODEL="people.User",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "people"],
    MIGRATION_MODULES={"auth": None, "contenttypes": None},
    REST_FRAMEWORK={"DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"]},
    ROOT_URLCONF=__name__,
    SECRET_KEY="unused: no token is signed with it",
    SIMPLE_JWT=SIMPLE_JWT,
    USE_TZ=True,
)
django.setup()

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
from django.urls import path
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView


class Me(APIView):
    permission_classes = [IsAuthenticated]

    def get(self, request):
        return Response(request.user.username)


urlpatterns = [path("me/", Me.as_view())]

latchkey_id, *tokens = sys.argv[1:]
call_command("migrate", run_syncdb=True, verbosity=0)
get_user_model().objects.create(username="ada", latchkey_id=latchkey_id)
get_user_model().objects.create(username="bob")
for token in tokens:
    response = Client().get("/me/", headers={"authorization": f"Bearer {token}"})
    print(json.dumps([response.status_code, response.json()]))
