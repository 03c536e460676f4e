"""Ways in which a request for /admin has been written so that a rule on /admin does not see it."""

from __future__ import annotations

from typing import Final

ATTEMPTS: Final = {
    "the plain truth": r"""
        /admin /admin/ /admin/x /admin/x/ /admin?x /admin/x?/public /api/admin /api/admin/x
    """,
    "empty segments": r"""
        //admin //admin/x ///admin /admin// /admin//x //api/admin /api//admin/x /api/api/admin/x /%2fadmin/x
        /%2Fadmin /admin%2fx /admin%2F /admin%2f%2fx %2fadmin /api%2fadmin/x
    """,
    "dot segments": r"""
        /./admin /./admin/x /public/../admin/x /../admin /admin/. /admin/.. /admin/./x /admin/../admin /%2e/admin
        /%2e%2e/admin /.%2e/admin/x /public/%2e%2e/admin/x /%252e%252e/admin /%252e/admin/x /public/..%2fadmin/x
        /public%2f..%2fadmin /..;/admin/x /public/..;/admin /.;/admin /admin/..;/x
    """,
    "path parameters, dots and blanks at the end": r"""
        /admin;/x /admin;x=1 /admin;x=1/x /;/admin/x /;x/admin /admin%3b/x /admin. /admin./x /admin.. /admin%20
        /admin%20/x /%20admin/x /admin%09 /%09/admin/x /admin%09/x /admin%0a /admin%0d%0a /admin%00 /admin%00/x
        /%00/admin /admin%00.css /admin%7f /%01admin /admin%c2%85 /admin%e2%80%a8
    """,
    "letter case, other slashes, other encodings": r"""
        /ADMIN /Admin/x /aDmIn /%61dmin /%61%64%6d%69%6e/x /%2561dmin/x /adm%C4%B1n/x /adm%ef%bd%89n/x /\admin
        \admin /admin\x /public\..\admin /%5cadmin/x /admin%5cx /public/..%5cadmin /%255cadmin /%ef%bc%8fadmin
        /admin%ef%bc%8fx /%e2%88%95admin/x /%c0%afadmin/x /admin%c0%afx /%c0%ae%c0%ae/admin /admin%ff /%ffadmin/x
        /%ed%a0%80/admin /%u002fadmin /admin% /%zzadmin /%2/admin /admin%252fx
    """,
    "without a slash in front, other forms": r"""
        admin admin/x * ?/admin #/admin /#/../admin/x /public#/admin /public?/../admin/x http://evil/admin
        http://evil/admin/x http://example.com/admin/x http:/admin/x http:///admin //evil/admin/x
        https://evil//admin/x http://evil/./admin/x evil:80/admin /http://evil/admin/x HTTP://evil/admin
    """,
    "root paths": r"""
        /apiadmin /apiadmin/x /api/ /api /x/api/admin /x/api/admin/x /xapi/admin/x /x/apiadmin/x /hook/api/admin/x
        /hook/api/admin /api/hook/api/admin/x /hook/apiadmin/x /public/api/admin/x /hook/../admin/x
        /hook/..;/admin/x /hook;/../admin /hook%2f..%2fadmin /hookadmin/x /api/apiadmin /apiapi/admin
        /api/api/api/admin/x /deep/er/admin/x /deep/er//admin /admin/api/public /adminapi/x
    """,
}

# What can stand in a request line, and a few paths that only a server could make.
TARGETS: Final = tuple(dict.fromkeys(target for group in ATTEMPTS.values() for target in group.split()))
PATHS: Final = (
    *TARGETS,
    "",
    " /admin",
    "/ admin",
    "/admin ",
    "/admin\n",
    "/admin\x00",
    "/adm\u200bin",
    "\ufeff/admin/x",
)
