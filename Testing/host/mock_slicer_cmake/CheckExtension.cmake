# An extension must say who made it and what it is; the Extensions Index reads these lines.
foreach(name HOMEPAGE CONTRIBUTORS DESCRIPTION ICONURL SCREENSHOTURLS DEPENDS)
  if("${EXTENSION_${name}}" STREQUAL "")
    message(SEND_ERROR "EXTENSION_${name} is empty")
  endif()
endforeach()
if(PROJECT_NAME MATCHES "^Slicer")
  message(SEND_ERROR "the name of an extension must not start with Slicer")
endif()
